/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * replay [-v] PATH...: run inputs once, without libFuzzer: files, and the files
 * of directories. A failure is an abort, after the name of its input.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include "fuzz.h"

#define INPUT_MAX	(1 << 16)

static unsigned int inputs;

static int replay_file(int dir, const char *name)
{
	uint8_t *data = malloc(INPUT_MAX), *exact;
	int fd = openat(dir, name, O_RDONLY | O_CLOEXEC);
	ssize_t size = fd < 0 || !data ? -1 : read(fd, data, INPUT_MAX);

	if (size < 0) {
		fprintf(stderr, "%s: %s\n", name, strerror(errno));
		free(data);
		return 1;
	}
	close(fd);
	printf("%s\n", name);
	fflush(stdout);
	/*
	 * Allocated with exactly its size, so that a sanitizer finds a read past the
	 * end.
	 */
	exact = malloc(size ? size : 1);
	if (exact)
		memcpy(exact, data, size);
	free(data);
	LLVMFuzzerTestOneInput(exact, size);
	free(exact);
	inputs++;
	return 0;
}

static int replay_path(const char *path)
{
	DIR *dir = opendir(path);
	struct dirent *entry;
	int ret = 0;

	if (!dir)
		return replay_file(AT_FDCWD, path);
	while ((entry = readdir(dir)))
		if (entry->d_name[0] != '.')
			ret |= replay_file(dirfd(dir), entry->d_name);
	closedir(dir);
	return ret;
}

int main(int argc, char **argv)
{
	int ret = 0;

	fuzz_thorough = true;
	for (int i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "-v"))
			fuzz_verbose = true;
		else
			ret |= replay_path(argv[i]);
	}
	printf("%u inputs\n", inputs);
	return ret || !inputs;
}
