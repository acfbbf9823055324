"""python3 acceptance/harness SUITE [OPTION…]: the scripts in acceptance/ are this with a name."""
import os, sys

sys.dont_write_bytecode = True
sys.path[0] = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

from harness import suite

sys.exit(suite.main())
