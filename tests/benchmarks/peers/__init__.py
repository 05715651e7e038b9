"""NAQ beside other task queues: the same jobs, the same machine, in turns; `hatch run bench:peers`."""
