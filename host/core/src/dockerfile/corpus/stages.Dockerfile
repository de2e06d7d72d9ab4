FROM debian AS a
FROM a AS b
FROM A AS a
FROM a
FROM b
FROM 0
FROM scratch
FROM Scratch
FROM c
FROM x AS c
