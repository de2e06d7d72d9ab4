FROM debian # comment
