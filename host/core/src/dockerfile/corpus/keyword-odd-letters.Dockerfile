FROM debian
WORKDIR /x
entrypoİnt x
