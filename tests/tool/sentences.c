/* SPDX-License-Identifier: BSD-3-Clause */
/* sentences COMMAND: prints each line of stdin as that command would print it. */
#include <stdio.h>
#include <string.h>
#include "names.h"

int main(int argc, char **argv)
{
	char line[2048];

	if (argc != 2)
		return 2;
	while (fgets(line, sizeof(line), stdin)) {
		line[strcspn(line, "\n")] = '\0';
		names_replace(argv[1], "/no/such/path", line, sizeof(line));
		puts(line);
	}
	return ferror(stdin) || fflush(stdout) ? 2 : 0;
}
