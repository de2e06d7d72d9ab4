FROM debian AS K
FROM k
FROM K
FROM x AS bi
FROM bİ
FROM y Aſ z
FROM Z
