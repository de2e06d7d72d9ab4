# foo=bar
# escape=`
FROM a`
USER b
