# The image of gateway and worker. Built and run only where a Docker engine is; see docs/production.md.
FROM python:3.11-slim-bookworm AS dependencies

WORKDIR /app
COPY requirements/production.txt requirements/production.txt
RUN python -m venv /venv \
    && /venv/bin/pip install --no-cache-dir --require-hashes -r requirements/production.txt

FROM python:3.11-slim-bookworm

RUN useradd --system --uid 10001 --no-create-home masking \
    && install --directory --owner masking --mode 700 /archive
WORKDIR /app
COPY --from=dependencies /venv /venv
COPY activities activities
COPY masking masking
COPY workflows workflows
COPY worker.py worker.py
ENV PATH=/venv/bin:$PATH PYTHONPATH=/app PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER 10001
ENTRYPOINT ["python", "-m", "masking"]
CMD ["--help"]
