"""From plan and step to windows."""
