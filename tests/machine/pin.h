/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Pages of a file that a device has pinned. While there is one, whatever breaks
 * the file's layout waits: a punch, and the layout barrier.
 */
#ifndef MACHINE_PIN_H
#define MACHINE_PIN_H

#include <stdbool.h>
#include <stdint.h>

/* Until then; land(arg) is called right before the pin ends: the device's last
 * store. land may be NULL. */
void machine_pin(uint32_t file, uint64_t until_ns, void (*land)(void *arg),
		 void *arg);
bool machine_is_pinned(uint32_t file);
/* End those whose time has come. */
void machine_pins_look(void);
void machine_pins_forget(void);

#endif
