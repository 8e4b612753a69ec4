"""scalelaw: what the next, larger network should reach, and whether a run that misses it is unlucky or mistuned."""
