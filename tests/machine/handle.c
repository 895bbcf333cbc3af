/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include "expect.h"
#include "handle.h"
#include "machine.h"
#include "os/os.h"

#define FIRST_FD	1000

static struct machine_handle handles[MACHINE_HANDLES];

int machine_handle_new(enum machine_handle_kind kind, uint32_t file)
{
	for (int i = 0; i < MACHINE_HANDLES; i++) {
		if (handles[i].kind)
			continue;
		handles[i] = (struct machine_handle) { kind, file, 0, false };
		machine.open++;
		return FIRST_FD + i;
	}
	return -EMFILE;
}

struct machine_handle *machine_handle(int fd)
{
	expect(fd >= FIRST_FD && fd < FIRST_FD + MACHINE_HANDLES &&
	       handles[fd - FIRST_FD].kind, "descriptor %d is not open", fd);
	return &handles[fd - FIRST_FD];
}

uint32_t machine_handle_file(int fd)
{
	expect(machine_handle(fd)->kind == MACHINE_HANDLE_SEGMENT,
	       "not a segment file");
	return machine_handle(fd)->file;
}

bool machine_handle_locks(uint32_t file)
{
	for (int i = 0; i < MACHINE_HANDLES; i++)
		if (handles[i].kind == MACHINE_HANDLE_SEGMENT &&
		    handles[i].file == file && handles[i].locked)
			return true;
	return false;
}

void machine_handles_forget(void)
{
	memset(handles, 0, sizeof(handles));
}

uint64_t machine_event_count(int fd)
{
	uint64_t count = machine_handle(fd)->count;

	machine_handle(fd)->count = 0;
	return count;
}

void dp_os_close(int fd)
{
	if (fd < 0)
		return;
	if (machine_handle(fd)->kind == MACHINE_HANDLE_RING)
		machine_ring_close(machine_handle(fd)->file);
	machine_handle(fd)->kind = MACHINE_HANDLE_NONE;
	machine.open--;
}
