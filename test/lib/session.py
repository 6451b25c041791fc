"""A session of the server under test, as a client has it."""

import json


class Session:
    """`with Session(client, sources=["pg1"]) as s: s.rows("SELECT 1")`"""

    def __init__(self, client, **wish):
        self.client = client
        response = open_session(client, **wish)
        assert response.status == 201, response
        self.fields = response.json()
        self.id = self.fields["id"]

    def query(self, sql, params=None, headers=(), **fields):
        return self.client.query(sql, params, headers, session=self.id, **fields)

    def rows(self, sql, params=None, **fields):
        response = self.query(sql, params, **fields)
        assert response.status == 200, response
        return response.json()["data"]

    def start_query(self, sql, headers=(), **fields):
        return self.client.start_query(sql, headers, session=self.id, **fields)

    def get(self):
        return self.client.get(f"/v1/sessions/{self.id}")

    def delete(self):
        return self.client.request("DELETE", f"/v1/sessions/{self.id}")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.delete()


def open_session(client, **wish):
    return client.request("POST", "/v1/sessions", json.dumps(wish).encode(), [("Content-Type", "application/json")])
