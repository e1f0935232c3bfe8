#!/bin/sh
# For cron: says nothing while all is well, and tells apart what a person must mend from what will pass.
llmfail -q status --check || llmfail status

llmfail -q ask "Summarise these errors" -a /var/log/app/errors.log --max-cost 0.25 -o report.txt
case $? in
    0) ;;
    3 | 7) echo "no model could be reached tonight; tomorrow's run will try again" ;;
    4) echo "the log is too long for 25 cents, or a budget is spent: llmfail status" ;;
    6) echo "a key is missing or refused: llmfail status" ;;
    *) exit 1 ;;
esac
