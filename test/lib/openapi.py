"""The server's own description of its API, and answers held against it. A field or a status that the document does not name fails the
test: then src/front/openapi.json has to be changed with the code."""

import jsonschema
import openapi_spec_validator
from jsonschema import Draft202012Validator
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

URI = "urn:openapi"


class Api:
    def __init__(self, document):
        openapi_spec_validator.validate(document)
        self.document = document
        resource = Resource.from_contents(document, default_specification=DRAFT202012)
        self.registry = Registry().with_resource(URI, resource)
        self.seen = set()  # (method, path, status)

    def _deref(self, node):
        while "$ref" in node:
            at = self.document
            for part in node["$ref"].removeprefix("#/").split("/"):
                at = at[part]
            node = at
        return node

    def template(self, path):
        path = path.split("?")[0]
        for template in self.document["paths"]:
            ours, theirs = template.split("/"), path.split("/")
            if len(ours) == len(theirs) and all(a == b or a.startswith("{") for a, b in zip(ours, theirs)):
                return template
        raise AssertionError(f"{path} is not described")

    def operation(self, method, path):
        template = self.template(path)
        item = self.document["paths"][template]
        assert method.lower() in item, f"{method} {template} is not described"
        return template, item[method.lower()]

    def validate(self, schema, value, what):
        rooted = _rooted(schema)
        errors = sorted(Draft202012Validator(rooted, registry=self.registry, format_checker=jsonschema.FormatChecker()).iter_errors(value),
                        key=lambda e: str(e.path))
        assert not errors, f"{what}: {errors[0].message} at {'/'.join(map(str, errors[0].path))}"

    def check(self, method, path, response):
        """The response is one that the document promises for this request."""
        template, operation = self.operation(method, path)
        what = f"{method} {path} {response.status}"
        responses = operation["responses"]
        status = str(response.status)
        promised = self._deref(responses[status] if status in responses else responses["default"])
        self.seen.add((method, template, status if status in responses else "default"))
        for name, header in promised.get("headers", {}).items():
            if name in response.headers:
                value = response.headers[name]
                schema = self._deref(header).get("schema", {})
                self.validate(schema, int(value) if schema.get("type") == "integer" else value, f"{what}, header {name}")
        content = promised.get("content")
        if not content:
            assert not response.body, f"{what} has a body"
            return response
        kind = response.content_type
        assert kind in content, f"{what}: {kind} is not among {list(content)}"
        json_like = kind.endswith("json") and "ndjson" not in kind
        self.validate(content[kind].get("schema", {}), response.json() if json_like else response.body.decode("latin-1"), what)
        return response

    def check_request(self, method, path, content_type, body):
        """The body is one that the document allows."""
        _, operation = self.operation(method, path)
        self.validate(operation["requestBody"]["content"][content_type]["schema"], body, f"request {method} {path}")


def _rooted(node):
    """The schema with its references made absolute, so that it can be looked at by itself."""
    if isinstance(node, dict):
        return {k: URI + v if k == "$ref" else _rooted(v) for k, v in node.items()}
    if isinstance(node, list):
        return [_rooted(v) for v in node]
    return node
