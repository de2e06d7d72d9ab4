FROM debian
RUN ["a <<EOF", "\ud800"]
RUN ["a <<EOF" "b"]
x
EOF
RUN [ ] <<EOF
y
EOF
RUN [] 
USER z
