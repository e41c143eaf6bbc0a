#include <stdlib.h>
#include <string.h>

int main(void) {
  size_t much = (size_t)1 << 30;
  char *memory = malloc(much);
  if (memory == NULL) return 1;
  memset(memory, 1, much);
  return memory[much / 2];
}
