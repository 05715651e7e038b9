"""The record of a workflow; for NAQ's own packages."""

from naq_core.storage.workflows import Head, Member, add_members, read_workflow, write_head

__all__ = ["Head", "Member", "add_members", "read_workflow", "write_head"]
