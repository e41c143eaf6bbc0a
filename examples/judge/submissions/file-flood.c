#include <stdio.h>

int main(void) {
  FILE *file = fopen("/tmp/flood", "w");
  if (file == NULL) return 1;
  for (;;) fputs("more of it, and more of it, and more of it\n", file);
}
