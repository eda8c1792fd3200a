"""pipelines/commands/terminal"""
