/* SPDX-License-Identifier: BSD-3-Clause */
/* Futexes and eventfds. */
#include <errno.h>
#include "expect.h"
#include "handle.h"
#include "machine.h"
#include "os/os.h"

/*
 * No other thread exists that could wake this one, so a wait ends only at its deadline.
 */
int dp_os_futex_wait(const void *word, uint32_t value, uint64_t deadline_ns)
{
	if (machine.observer) {
		machine.observer->wait();
		return 0;
	}
	expect(deadline_ns != UINT64_MAX, "a wait that never ends");
	if (*(const volatile uint32_t *)word != value)
		return -EAGAIN;
	if (machine.now_ns < deadline_ns)
		machine.now_ns = deadline_ns;
	return -ETIMEDOUT;
}

void dp_os_futex_wake(const void *word)
{
	(void)word;
}

int dp_os_eventfd(void)
{
	return machine_handle_new(MACHINE_HANDLE_EVENT, 0);
}

void dp_os_eventfd_signal(int fd)
{
	expect(machine_handle(fd)->kind == MACHINE_HANDLE_EVENT, "not an eventfd");
	machine_handle(fd)->count++;
}
