// What a judge that guesses takes for a limit.
#include <signal.h>

int main(void) { raise(SIGKILL); }
