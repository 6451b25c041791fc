"""Asynchronous queries of the server under test, as a client uses them."""

from lib.client import Client


def submit(client, sql, params=None, headers=(), **fields):
    """POST /v1/queries; the answer as it is."""
    if params is not None:
        fields["params"] = params
    pairs = [("Content-Type", "application/json")] + list(dict(headers).items())
    return client.request("POST", "/v1/queries", Client.query_body(sql, fields), pairs)


def start(client, sql, headers=(), **fields):
    """The id of a query that was accepted."""
    response = submit(client, sql, headers=headers, **fields)
    assert response.status == 202, response
    body = response.json()
    assert body["state"] in ("queued", "running"), body
    assert response.headers["Location"] == f"/v1/queries/{body['id']}" and response.headers["Bulkhead-Query-Id"] == body["id"]
    return body["id"]


def wait_over(client, query_id, headers=()):
    """Its record once it is over, by the long poll."""
    response = client.request("GET", f"/v1/queries/{query_id}?wait=120s", headers=headers)
    assert response.status == 200, response
    assert response.json()["state"] in ("done", "failed", "cancelled"), response
    return response.json()


def fetch(client, query_id, headers=(), method="GET"):
    return client.request(method, f"/v1/queries/{query_id}/result", headers=headers)


def result(client, sql, **fields):
    """The answer to GET .../result of a query that is run to its end."""
    query_id = start(client, sql, **fields)
    record = wait_over(client, query_id)
    assert record["state"] == "done", record
    return fetch(client, query_id)
