#!/bin/sh
# A commit message for what is staged; without any model at hand, the commit goes on with an empty one.
message=$(git diff --staged | llmfail -q ask "Write a commit message of one line for this diff" --deadline 20) || message=
git commit --edit --message "$message"
