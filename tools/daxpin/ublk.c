/* SPDX-License-Identifier: BSD-3-Clause */
#include <dirent.h>
#include <stdio.h>
#include <unistd.h>
#include "ublk.h"

int ublk_count_devices(void)
{
	DIR *dir = opendir("/sys/class/ublk-char");
	struct dirent *entry;
	int count = 0;

	if (!dir)
		return access("/sys/class/mem", F_OK) ? -1 : 0;
	while ((entry = readdir(dir)))
		count += entry->d_name[0] != '.';
	closedir(dir);
	return count;
}

int ublk_count_files(void)
{
	FILE *file = fopen("/sys/module/ublk_drv/refcnt", "re");
	int count = -1;

	if (!file)
		return access("/sys/module/ublk_drv", F_OK) ? 0 : -1;
	if (fscanf(file, "%d", &count) != 1)
		count = -1;
	fclose(file);
	return count;
}
