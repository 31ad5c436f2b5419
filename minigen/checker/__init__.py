"""The parts of the gradient checker, whose front door is minigen.gradcheck.

subjects    what is checked, as functions of host arrays: values, gradients, gradients of gradients
lend        float64 copies in a module's parameters, the originals put back whatever happens
conduct     the rules of the house: shapes, dtypes, determinism, inputs left alone
slopes      derivatives by differences, with an uncertainty; kinks and edges of the domain
entries     which entries are compared, and the verdict on each
culprit     the first wrong operation of a recorded graph
diagnosis   from a comparison that failed to the evidence of it
causes      from the pattern of the error to its likely cause
signatures  what a function calls its arguments
files       what a file on disk defines that can be checked
report      what is handed back, and the error that carries it
"""
