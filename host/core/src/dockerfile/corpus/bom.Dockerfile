# escape=`
FROM a`
b
