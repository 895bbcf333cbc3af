/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Pages of a file that a device has pinned. While there is one, every operation that
 * breaks the file's layout waits: a punch, and the layout barrier.
 */
#ifndef MACHINE_PIN_H
#define MACHINE_PIN_H

#include <stdbool.h>
#include <stdint.h>

/*
 * Pins until that time. land(arg), if not NULL, is called right before the pin ends: it
 * makes the device's last store.
 */
void machine_pin(uint32_t file, uint64_t until_ns, void (*land)(void *arg),
		 void *arg);
bool machine_is_pinned(uint32_t file);
/* Ends the pins whose time has come. */
void machine_pins_look(void);
void machine_pins_forget(void);

#endif
