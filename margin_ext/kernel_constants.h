/* Coefficients of the kernels: near-minimax fits made in 60-digit arithmetic (Lawson iteration). */
#ifndef MARGRAVE_KERNEL_CONSTANTS_H
#define MARGRAVE_KERNEL_CONSTANTS_H

#define ROUND_SHIFTER                                                                                        \
    6755399441055744.0 /* 1.5 * 2^52: adding it leaves the nearest integer in the low bits */
#define ROUND_SHIFTER_BITS 0x4338000000000000LL /* its bit pattern */
#define SQRT_HALF_BITS 0x3fe6a09e667f3bcdULL    /* sqrt(1/2) */
#define LOG2_E 0x1.71547652b82fep+0
#define LN2_HIGH 0x1.62e42fefa3800p-1 /* k * LN2_HIGH is exact for |k| < 2^11 */
#define LN2_LOW 0x1.ef35793c76730p-45

#define COIN_ROW_SCALE 1e10 /* coin rows: 1e-10 coin */
#define USD_ROW_SCALE 1e4   /* USD rows: 1e-4 USD */
#define WIDTH_MIN 1e-100    /* stands for zero total vol; no product with it overflows */
#define MILLS_Z_MAX 37.0    /* phi(37) < 1e-297 */

#define HALF_ROOT_TWO_PI 1.2533141374 /* sqrt(2 pi) / 2, rounded up: N(z) <= phi(z) times this for z <= 0 */
#define BAND_OUTWARD (1.0 + 1e-12)    /* edges of a box, moved outward by more than the logarithm's error */
#define BAND_DELTA_ERROR 1e-12

/* (e^r - 1 - r) / r^2 on |r| <= ln(2)/2, degree 9 */
#define EXP_C0 0x1.0000000000001p-1
#define EXP_C1 0x1.555555555554dp-3
#define EXP_C2 0x1.5555555553d6fp-5
#define EXP_C3 0x1.111111111436ep-7
#define EXP_C4 0x1.6c16c17889027p-10
#define EXP_C5 0x1.a01a018cbd606p-13
#define EXP_C6 0x1.a019b9126aa96p-16
#define EXP_C7 0x1.71de58a35bdbfp-19
#define EXP_C8 0x1.2891844e5afd4p-22
#define EXP_C9 0x1.aeae17620d3d2p-26

/* 2^r / sqrt(2 pi) on |r| <= 1/2, degree 10: the normal density is phi(z) = 2^(DENSITY_RATE z^2) / sqrt(2 pi)
 */
#define DENSITY_RATE -0x1.71547652b82fep-1
#define DENSITY_C0 0x1.9884533d43651p-2
#define DENSITY_C1 0x1.1b298eb9c6d8ep-2
#define DENSITY_C2 0x1.888bdd65b4664p-4
#define DENSITY_C3 0x1.6aca3425ee463p-6
#define DENSITY_C4 0x1.f6eefc21a9327p-9
#define DENSITY_C5 0x1.16e2b4c880948p-11
#define DENSITY_C6 0x1.01beb8070d40cp-14
#define DENSITY_C7 0x1.985a4c9549cabp-18
#define DENSITY_C8 0x1.1b0c8c7082186p-21
#define DENSITY_C9 0x1.5dd723f69dbc1p-25
#define DENSITY_C10 0x1.83ca972f71558p-29

/* (2 atanh(s) / s - 2) / s^2 in s^2, s = f / (2 + f), degree 7 */
#define LOG_C0 0x1.5555555555555p-1
#define LOG_C1 0x1.9999999999a39p-2
#define LOG_C2 0x1.24924924768eap-2
#define LOG_C3 0x1.c71c7201c39f3p-3
#define LOG_C4 0x1.745cf8d942975p-3
#define LOG_C5 0x1.3b1c3e58146fdp-3
#define LOG_C6 0x1.0fbda9ce8e285p-3
#define LOG_C7 0x1.0c0d161c0289ep-3

/* Mills ratio on [0, 39], degree (8, 9), Q0 = 1 */
#define MILLS_P0 0x1.40d931ff62715p+0
#define MILLS_P1 0x1.cd86f588608b2p+0
#define MILLS_P2 0x1.476fbbea12292p+0
#define MILLS_P3 0x1.23d9dd39a0496p-1
#define MILLS_P4 0x1.61df2d880691dp-3
#define MILLS_P5 0x1.29f3bbdf88bafp-5
#define MILLS_P6 0x1.5507feeaddf70p-8
#define MILLS_P7 0x1.e9019b9fd4293p-12
#define MILLS_P8 0x1.561927f68dc63p-16
#define MILLS_Q1 0x1.1e407e8d9b372p+1
#define MILLS_Q2 0x1.270634e7880c3p+1
#define MILLS_Q3 0x1.710e77b83f431p+0
#define MILLS_Q4 0x1.35fee6737edb2p-1
#define MILLS_Q5 0x1.6c7209803fb5dp-3
#define MILLS_Q6 0x1.2dc5bf643e286p-5
#define MILLS_Q7 0x1.565e1805e9fc8p-8
#define MILLS_Q8 0x1.e9019ba2617c2p-12
#define MILLS_Q9 0x1.561927f65470fp-16

#endif
