FROM debian
ONBUILD RUN <<EOF
FROM evil
EOF
onbuild copy <<a /b
x
a
ONBUILD USER <<EOF
ONBUILD --x RUN <<EOF
y
EOF
