int main(void) {
  for (volatile unsigned long turn = 0;; turn = turn + 1) continue;
}
