/* SPDX-License-Identifier: BSD-3-Clause */
/* Owns the list of providers that copy with the CPU. */
#include "ofi/provider.h"

#include <stddef.h>
#include <string.h>

/* The name has the core provider and those that are layered on it, such as
 * "tcp;ofi_rxm". */
bool dp_ofi_copies_with_cpu(const char *name)
{
	static const char *const parts[] = { "tcp", "sockets", "shm", "ofi_rxm" };
	size_t length, i;

	for (; *name; name += length + (name[length] == ';')) {
		length = strcspn(name, ";");
		for (i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
			if (strlen(parts[i]) == length &&
			    !strncmp(name, parts[i], length))
				break;
		if (i == sizeof(parts) / sizeof(parts[0]))
			return false;
	}
	return true;
}
