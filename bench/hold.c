/* hold FIFO: a process that waits for somebody to open the other end, the least that a waiter can be. */
#include <fcntl.h>

int main(int argc, char **argv) { return argc != 2 || open(argv[1], O_RDONLY) < 0; }
