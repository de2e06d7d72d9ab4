ARG A=﻿x
FROM ﻿debian
FROM $A
