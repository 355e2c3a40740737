/* The smallest job: a static program that does nothing, so that what is left is the spooler's own cost. */
int main(void) { return 0; }
