FROM debian
RUN <<EOF
FROM evil
EOF
RUN <<-"A B" cat <<'E' 3<<F
	x
	A B
y
E
# z

F
COPY <<a <<b /
1
a
2
b
USER x
