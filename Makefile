# Names for what scripts/ does, and the release build of the command line.

# The server that `ds` talks to when a workspace names none.
DEFAULT_REMOTE ?= https://docstore.dev

.PHONY: dev test db-reset generate build-ds

dev:
	scripts/dev

test:
	scripts/test

db-reset:
	scripts/db-reset

generate:
	scripts/generate

build-ds:
	DS_DEFAULT_REMOTE="$(DEFAULT_REMOTE)" cargo build --locked --release --package ds
