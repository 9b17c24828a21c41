"""Adapters that let the agents of other frameworks use a sandbox.

Each framework has a module of its own, imported by name: `smolagents`, `langchain`, `pydantic_ai`.
"""
