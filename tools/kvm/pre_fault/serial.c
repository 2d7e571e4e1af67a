// SPDX-License-Identifier: GPL-2.0-only
/* The parts of a 16550 that Linux needs for an interactive console. */
#include <string.h>

#include "guest.h"

enum { DATA, IER, IIR, LCR, MCR, LSR, MSR, SCR };

#define IER_RECEIVED	0x01
#define IER_SENT	0x02
#define IIR_NONE	0x01
#define IIR_SENT	0x02
#define IIR_RECEIVED	0x04
#define IIR_FIFOS	0xc0
#define LCR_DLAB	0x80
#define MCR_DTR		0x01
#define MCR_RTS		0x02
#define MCR_OUT1	0x04
#define MCR_OUT2	0x08
#define MCR_LOOP	0x10
#define LSR_RECEIVED	0x01
#define LSR_SENT	0x60
#define MSR_CTS		0x10
#define MSR_DSR		0x20
#define MSR_RI		0x40
#define MSR_DCD		0x80

static bool received(const struct serial *serial)
{
	return serial->in && *serial->in;
}

static uint8_t cause(const struct serial *serial)
{
	if (serial->regs.ier & IER_RECEIVED && received(serial))
		return IIR_RECEIVED;
	if (serial->regs.ier & IER_SENT && serial->regs.sent)
		return IIR_SENT;
	return IIR_NONE;
}

static void print(struct serial *serial, char c)
{
	size_t half = sizeof(serial->out) / 2;

	/* Only the end of the output matters: drop the first half. */
	if (serial->len == sizeof(serial->out) - 1) {
		memmove(serial->out, serial->out + half, serial->len - half);
		serial->len -= half;
	}
	serial->out[serial->len++] = c;
	serial->out[serial->len] = '\0';
}

/**
 * serial_write - the guest writes to a register
 * @serial: the serial line
 * @reg: number of the register, 0 to 7
 * @value: the value
 */
void serial_write(struct serial *serial, unsigned int reg, uint8_t value)
{
	struct serial_regs *regs = &serial->regs;

	switch (reg) {
	case DATA:
		if (regs->lcr & LCR_DLAB) {
			regs->dll = value;
			break;
		}
		if (!(regs->mcr & MCR_LOOP))
			print(serial, value);
		regs->sent = 1;
		break;
	case IER:
		if (regs->lcr & LCR_DLAB) {
			regs->dlm = value;
			break;
		}
		/* Raise that interrupt as soon as it is enabled. */
		if (value & ~regs->ier & IER_SENT)
			regs->sent = 1;
		regs->ier = value & 0x0f;
		break;
	case IIR:
		regs->fcr = value;
		break;
	case LCR:
		regs->lcr = value;
		break;
	case MCR:
		regs->mcr = value;
		break;
	case SCR:
		regs->scr = value;
		break;
	}
}

static uint8_t modem_status(uint8_t mcr)
{
	if (!(mcr & MCR_LOOP))
		return MSR_DCD | MSR_DSR | MSR_CTS;
	return (mcr & MCR_RTS ? MSR_CTS : 0) | (mcr & MCR_DTR ? MSR_DSR : 0) |
	       (mcr & MCR_OUT1 ? MSR_RI : 0) | (mcr & MCR_OUT2 ? MSR_DCD : 0);
}

/**
 * serial_read - the guest reads a register
 * @serial: the serial line
 * @reg: number of the register, 0 to 7
 *
 * Return: the value
 */
uint8_t serial_read(struct serial *serial, unsigned int reg)
{
	struct serial_regs *regs = &serial->regs;
	uint8_t value;

	switch (reg) {
	case DATA:
		if (regs->lcr & LCR_DLAB)
			return regs->dll;
		return received(serial) ? *serial->in++ : 0;
	case IER:
		return regs->lcr & LCR_DLAB ? regs->dlm : regs->ier;
	case IIR:
		value = cause(serial);
		if (value == IIR_SENT)
			regs->sent = 0;
		return value | (regs->fcr & 1 ? IIR_FIFOS : 0);
	case LCR:
		return regs->lcr;
	case MCR:
		return regs->mcr;
	case LSR:
		return LSR_SENT | (received(serial) ? LSR_RECEIVED : 0);
	case MSR:
		return modem_status(regs->mcr);
	default:
		return regs->scr;
	}
}

/**
 * serial_irq - get the level of the interrupt line
 * @serial: the serial line
 *
 * Return: true if the line has to be high
 */
bool serial_irq(const struct serial *serial)
{
	return cause(serial) != IIR_NONE;
}

/**
 * serial_ends_with - check the end of the guest's output
 * @serial: the serial line
 * @text: a prompt
 *
 * Return: true if the output ends with @text
 */
bool serial_ends_with(const struct serial *serial, const char *text)
{
	size_t len = strlen(text);

	return serial->len >= len &&
	       !memcmp(serial->out + serial->len - len, text, len);
}
