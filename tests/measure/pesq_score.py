"""The PESQ score (ITU-T P.862, narrow band) of what was heard against what was said: two files of 16-bit samples at 8 kHz."""

import sys

import numpy
from pesq import pesq

said, heard = (numpy.fromfile(name, dtype="<i2") for name in sys.argv[1:3])
print(pesq(8000, said, heard, "nb"))
