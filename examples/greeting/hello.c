#include <stdio.h>

int main(int argc, char **argv)
{
	if (argc > 2) {
		fprintf(stderr, "usage: hello [NAME]\n");
		return 2;
	}
	return printf("Hello, %s!\n", argc == 2 ? argv[1] : "world") < 0;
}
