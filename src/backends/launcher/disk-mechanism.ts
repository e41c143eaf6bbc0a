/** For all backends in which init makes the sandbox's own directories. Apart from what makes them, so that negotiation need not load that. */
export const diskMechanism = "one tmpfs with size= and nr_inodes= for all of the sandbox's own directories";
