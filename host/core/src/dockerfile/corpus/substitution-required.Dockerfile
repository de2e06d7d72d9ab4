FROM ${NO:?gone}
