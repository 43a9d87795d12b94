"""Plans: what a study needs and costs on machines that are not there, from the compiler."""
