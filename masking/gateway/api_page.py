"""The OpenAPI document as a page for people: plain HTML, no script."""

from __future__ import annotations

from typing import Any
from xml.etree.ElementTree import Element, SubElement, tostring

Json = dict[str, Any]

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #1c2430; }
h2 { margin-top: 3rem; border-top: 1px solid #d5dbe3; padding-top: 1.5rem; }
code { font: 0.9em ui-monospace, monospace; background: #f2f4f7; padding: 0.1em 0.3em; border-radius: 3px; }
table { border-collapse: collapse; width: 100%; margin: 0.5rem 0 1.5rem; }
th, td { text-align: left; vertical-align: top; padding: 0.35rem 0.75rem 0.35rem 0; border-bottom: 1px solid #e6eaef; }
.verb { color: #0b5cad; font-weight: 600; }
.rule { color: #55606e; }
@media (prefers-color-scheme: dark) {
  body { background: #12161c; color: #dce3ec; }
  code { background: #222933; }
  h2, th, td { border-color: #2d3642; }
  .verb { color: #6db3f8; }
  .rule { color: #9aa7b6; }
}
"""


def page(document: Json, style_url: str) -> tuple[str, str]:
    """The page, and its style sheet that is to be served at `style_url`."""
    html = Element("html", lang="en")
    head, body = SubElement(html, "head"), SubElement(html, "body")
    SubElement(head, "meta", charset="utf-8")
    SubElement(head, "meta", name="viewport", content="width=device-width, initial-scale=1")
    SubElement(head, "title").text = document["info"]["title"]
    SubElement(head, "link", rel="stylesheet", href=style_url)
    SubElement(body, "h1").text = document["info"]["title"]
    introduction = SubElement(body, "p")
    introduction.text = f"{document['info']['description']} Base URL "
    SubElement(introduction, "code").text = document["servers"][0]["url"]
    SubElement(SubElement(body, "p"), "a", href="/openapi.json").text = "The same as an OpenAPI 3.1 document"
    _contents(body, document)
    for path, operations in document["paths"].items():
        for verb, operation in operations.items():
            _operation(body, verb, path, operation)
    SubElement(body, "h1").text = "Objects"
    for name, schema in document["components"]["schemas"].items():
        SubElement(body, "h2", id=name).text = name
        if "description" in schema:
            SubElement(body, "p").text = schema["description"].replace("`", "")
        _properties(body, schema)
    return "<!doctype html>\n" + tostring(html, encoding="unicode", method="html"), STYLE


def _contents(body: Element, document: Json) -> None:
    contents = SubElement(SubElement(body, "nav"), "ul")
    for operations in document["paths"].values():
        for operation in operations.values():
            item = SubElement(contents, "li")
            SubElement(item, "a", href=f"#{operation['operationId']}").text = operation["summary"]


def _operation(body: Element, verb: str, path: str, operation: Json) -> None:
    SubElement(body, "h2", id=operation["operationId"]).text = operation["summary"]
    call = SubElement(body, "p")
    SubElement(call, "span", {"class": "verb"}).text = verb.upper()
    code = SubElement(call, "code")
    code.text = path
    code.tail = ""
    rows = [(p["name"], _rule(p["schema"]), p["description"]) for p in operation["parameters"]]
    _table(body, ("Parameter", "Rule", "Meaning"), rows)
    if "requestBody" in operation:
        _leads_to(body, "Body: ", operation["requestBody"]["content"])
    for status, answer in operation["responses"].items():
        _leads_to(body, f"{status}: {answer['description']} ", answer["content"])


def _leads_to(body: Element, words: str, content: Json) -> None:
    line = SubElement(body, "p")
    line.text = words
    if "application/json" not in content:
        line.text += " or ".join(content)
        return
    name = content["application/json"]["schema"]["$ref"].rsplit("/", 1)[-1]
    SubElement(line, "a", href=f"#{name}").text = name


def _properties(body: Element, schema: Json) -> None:
    rows = [(name, _rule(each), each.get("description", "")) for name, each in schema.get("properties", {}).items()]
    _table(body, ("Name", "Rule", "Meaning"), rows)


def _table(body: Element, heads: tuple[str, ...], rows: list[tuple[str, str, str]]) -> None:
    if not rows:
        return
    table = SubElement(body, "table")
    line = SubElement(table, "tr")
    for head in heads:
        SubElement(line, "th").text = head
    for name, rule, meaning in rows:
        line = SubElement(table, "tr")
        SubElement(SubElement(line, "td"), "code").text = name
        SubElement(line, "td", {"class": "rule"}).text = rule
        SubElement(line, "td").text = meaning


def _rule(schema: Json) -> str:
    """A type with its bounds, in words."""
    if "$ref" in schema:
        return str(schema["$ref"].rsplit("/", 1)[-1])
    if "anyOf" in schema:
        return " or ".join(_rule(each) for each in schema["anyOf"] if each.get("type") != "null")
    if "enum" in schema:
        return " or ".join(map(str, schema["enum"]))
    if schema.get("type") == "array":
        return f"list of {_rule(schema['items'])}"
    bounds = [str(schema[key]) for key in ("minimum", "maximum") if key in schema]
    words = str(schema.get("type", "any"))
    words += f", {' to '.join(bounds)}" if bounds else ""
    default = schema.get("default")
    return words if default in (None, "") else f"{words}, default {str(default).lower()}"
