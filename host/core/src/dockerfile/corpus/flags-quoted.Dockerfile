FROM "--platform=x" 
USER x
