"""PostgreSQL: the tables' migrations and every query.

Plain psycopg 3 with typed rows, and not an ORM: the queries that matter here (leases taken
by a conditional upsert, one indexed read per call) are PostgreSQL's own and read best as
such; `class_row` gives them types, the migrations are the only description of the tables,
and one driver serves them, the queries and Alembic alike.
"""
