from debian as Build
rUn x
FrOm BUILD
from bUiLd aS other
FROM OTHER
