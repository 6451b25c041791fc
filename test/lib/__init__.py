"""Shared by the black-box and the fault suite: the server under test, its processes, clients, databases."""
