; Kart Cart: a small kart race for the SNES. The upper half of the screen shows the race in mode 7, the lower half a map
; of the track. B accelerates, left and right steer. Before the race, left and right choose the track and START begins.
; The variables of the race are at the addresses of Super Mario Kart's, so that code that reads that game also works
; with this one. Names in capitals that are not set here come from build.py, which also adds the tracks and the art.

FRAME   = $38           ; counts up
KX      = $88           ; position on the track, pixels
KY      = $8C
DIR     = $95           ; heading: 0 is up, 64 right
MODE    = $B5           ; $1C is a race
MAP     = $F0           ; addresses of the track's two banks, three bytes each
TABLES  = $F4
CS      = $100          ; race clock, BCD
SECONDS = $102
MINUTES = $104
TURNED  = $10B          ; $10: driving the wrong way
TRACK   = $124
LAPSIZE = $148          ; number of checkpoints per lap
SURFACE = $10AE
LAP     = $10C1         ; 128 in the first lap
CHECK   = $10DC         ; the last checkpoint
SPEED   = $10EA
PAD     = $1500
OLDPAD  = $1502
READY   = $1504
T       = $1506
DELTA   = $1508
SIGN    = $150A
LIMIT   = $150C
LEAN    = $150E         ; 0-16: 8 is straight
POSX    = $1510         ; three bytes: fraction, then pixels
POSY    = $1514
NEWX    = $1518
NEWY    = $151C
SCROLL  = $1520         ; HDMA tables of two halves: number of lines, then two words
CENTER  = $1530
OAM     = $1600         ; sprites: kart, dot on the map, then letters

RACE    = $1C
MENU    = $04

reset:
  SEI
  CLC
  XCE
  REP #$38              ; 16 bits, no decimal mode
  LDX #$1FFF
  TXS
  LDA #$0000
  TCD
  SEP #$20
  LDA #$8F
  STA $2100             ; screen off
  STZ $4200
  STZ $420C
  REP #$30
  LDX #$0000
clear:
  STZ $00,X
  INX
  INX
  CPX #$1FF0
  BNE clear
  SEP #$20
  LDX #$0033
clear_ppu:
  STZ $2100,X
  STZ $2100,X
  DEX
  BNE clear_ppu
  LDA #$F0
  LDX #$0000
hide:                   ; all sprites below the screen
  STA OAM+1,X
  INX
  INX
  INX
  INX
  CPX #512
  BNE hide
  LDA #$C0
  STA $211A             ; outside of the map: repeat tile 0
  LDA #$22
  STA $2101             ; sprites 8x8 and 32x32, tiles at word $4000
  LDA #$51
  STA $2108             ; the sky: map of 64x32 at word $5000
  LDA #$60
  STA $210B             ; its tiles at word $6000
  ; tiles of the sprites
  LDA #$80
  STA $2115
  LDX #$4000
  STX $2116
  LDA #SPRITE_BANK
  STA $4304
  LDX #$1801
  STX $4300
  LDX #$8000
  STX $4302
  LDX #SPRITE_SIZE
  STX $4305
  LDA #$01
  STA $420B
  ; HDMA channels: 2 matrix A B, 3 matrix C D, 4 visible layers, 5 scroll, 6 center, 7 video mode
  LDX #$1B03
  STX $4320
  LDX #$1D03
  STX $4330
  LDA #MATRIX_AB_BANK
  STA $4324
  LDA #MATRIX_CD_BANK
  STA $4334
  LDX #$2C00
  STX $4340
  LDX #layers
  STX $4342
  STZ $4344
  LDX #$0D03
  STX $4350
  LDX #SCROLL
  STX $4352
  STZ $4354
  LDX #$1F03
  STX $4360
  LDX #CENTER
  STX $4362
  STZ $4364
  LDX #$0500
  STX $4370
  LDX #modes
  STX $4372
  STZ $4374
  LDA #HALF_LINE
  STA SCROLL
  STA CENTER
  LDA #$01
  STA SCROLL+5
  STA CENTER+5
  LDX #MAP_SCROLL_X     ; scroll of the map in the lower half
  STX SCROLL+6
  LDX #MAP_SCROLL_Y
  STX SCROLL+8
  JSR load
loop:
  LDA READY
  BEQ loop
  STZ READY
  LDA MODE
  CMP #RACE
  BEQ racing
  JSR menu
  BRA draw
racing:
  JSR drive
draw:
  JSR sprites
  BRA loop

; ---------------------------------------------------------------- menu before the race
menu:
  REP #$20
  LDA OLDPAD
  EOR #$FFFF
  AND PAD               ; newly pressed buttons
  STA T
  LDA PAD
  STA OLDPAD
  LDA T
  BIT #$1000
  BEQ no_start
  SEP #$20
  LDA #RACE
  STA MODE
  RTS
no_start:
  .a16
  BIT #$0100
  BEQ no_right
  SEP #$20
  LDA TRACK
  INC
  CMP #NUM_TRACKS
  BNE chosen
  LDA #$00
  BRA chosen
no_right:
  .a16
  BIT #$0200
  BEQ no_left
  SEP #$20
  LDA TRACK
  BNE not_first
  LDA #NUM_TRACKS
not_first:
  DEC
chosen:
  STA TRACK
  JSR load
no_left:
  SEP #$20
  RTS

; copies the track's pictures into video memory and puts the kart at the start
load:
  SEP #$20
  STZ $4200
  STZ $420C
  LDA #$8F
  STA $2100
  LDX #$8000
  STX MAP
  STX TABLES
  LDA TRACK
  ASL
  CLC
  ADC #TRACK_BANK
  STA MAP+2
  INC
  STA TABLES+2
  STZ $2115             ; low bytes of video memory: the map
  LDX #$0000
  STX $2116
  LDA MAP+2
  STA $4304
  LDX #$1800
  LDY #$8000
  STX $4300
  STY $4302
  LDX #$4000
  STX $4305
  LDA #$01
  STA $420B
  LDA #$80
  STA $2115             ; high bytes: the tiles
  LDX #$0000
  STX $2116
  LDX #$1900
  LDY #$C000
  STX $4300
  STY $4302
  LDX #$4000
  STX $4305
  LDA #$01
  STA $420B
  LDX #$5000
  STX $2116             ; the sky: first its map, then its tiles
  LDA TABLES+2
  STA $4304
  LDX #$1801
  LDY #SKY_MAP
  STX $4300
  STY $4302
  LDX #$1000
  STX $4305
  LDA #$01
  STA $420B
  LDX #$6000
  STX $2116
  LDX #SKY_TILES
  STX $4302
  LDX #SKY_SIZE
  STX $4305
  LDA #$01
  STA $420B
  STZ $2121
  LDX #$2200
  LDY #COLORS
  STX $4300
  STY $4302
  LDX #$0200
  STX $4305
  LDA #$01
  STA $420B
  ; start position and heading
  LDY #START
  REP #$20
  LDA [TABLES],Y
  STA KX
  STA POSX+1
  INY
  INY
  LDA [TABLES],Y
  STA KY
  STA POSY+1
  INY
  INY
  SEP #$20
  LDA [TABLES],Y
  STA DIR
  STZ POSX
  STZ POSY
  LDX #$0000
  STX SPEED
  LDA #MENU
  STA MODE
  LDA #$7F              ; before the line
  STA LAP
  LDA #LAST_CHECK
  STA CHECK
  INC
  STA LAPSIZE
  LDA #$40
  STA SURFACE
  LDA #$08
  STA LEAN
  STZ TURNED
  JSR sprites
  LDA #$81
  STA $4200
  LDA #$0F
  STA $2100
  RTS

; ---------------------------------------------------------------- one frame of the race
drive:
  REP #$20
  LDX #$03C0            ; speed limit of the surface
  LDA SURFACE
  AND #$00FF
  CMP #$0040
  BEQ ground
  CMP #$001E
  BEQ ground
  LDX #$01A0
  CMP #$005A
  BEQ ground
  LDX #$00C0
  CMP #$0016
  BNE ground
  LDX #$03FC            ; boost
  STX SPEED
ground:
  STX LIMIT
  LDA PAD
  BIT #$8000
  BEQ coast
  LDA SPEED
  CLC
  ADC #$000A
  CMP LIMIT
  BCC speed
  SBC #$0018
  CMP LIMIT
  BCS speed
  LDA LIMIT
  BRA speed
coast:
  LDA SPEED
  SEC
  SBC #$0008
  BPL speed
  LDA #$0000
speed:
  STA SPEED
  ; steering, only while the kart moves; it leans gradually
  SEP #$20
  LDA PAD+1
  AND #$03
  CMP #$02
  BEQ left
  CMP #$01
  BEQ right
  LDA LEAN
  CMP #$08
  BEQ steered
  BCC upright
  DEC LEAN
  BRA steered
upright:
  INC LEAN
  BRA steered
left:
  LDA LEAN
  BEQ lean_left
  DEC LEAN
lean_left:
  LDX SPEED
  BEQ steered
  DEC DIR
  DEC DIR
  BRA steered
right:
  LDA LEAN
  CMP #$10
  BEQ lean_right
  INC LEAN
lean_right:
  LDX SPEED
  BEQ steered
  INC DIR
  INC DIR
steered:
  ; new position: x += speed * sin, y -= speed * cos
  REP #$20
  LDA SPEED
  LSR
  LSR
  SEP #$20
  STA $4202
  REP #$20
  LDA DIR
  AND #$00FF
  LSR
  LSR
  TAX
  JSR scale_velocity
  LDA POSX
  CLC
  ADC DELTA
  STA NEWX
  SEP #$20
  LDA POSX+2
  ADC SIGN
  STA NEWX+2
  REP #$20
  TXA
  CLC
  ADC #$0030
  AND #$003F
  TAX
  JSR scale_velocity             ; sin(a - 90 degrees) = -cos(a)
  LDA POSY
  CLC
  ADC DELTA
  STA NEWY
  SEP #$20
  LDA POSY+2
  ADC SIGN
  STA NEWY+2
  ; surface at the new position
  REP #$20
  LDA NEWX+1
  LSR
  LSR
  LSR
  AND #$007F
  STA T
  LDA NEWY+1
  AND #$03F8
  ASL
  ASL
  ASL
  ASL
  ORA T
  TAY
  LDA [MAP],Y
  AND #$00FF
  CLC
  ADC #SURFACES
  TAY
  SEP #$20
  LDA [TABLES],Y
  STA SURFACE
  CMP #$80
  BNE free
  LDX #$0000            ; wall: stop and do not move
  STX SPEED
  JMP clock
free:
  LDX NEWX
  STX POSX
  LDA NEWX+2
  STA POSX+2
  LDX NEWY
  STX POSY
  LDA NEWY+2
  STA POSY+2
  LDX POSX+1
  STX KX
  LDX POSY+1
  STX KY
  ; checkpoint of the 32 x 32 pixel cell; only the next and the previous one count
  REP #$20
  LDA KX
  LSR
  LSR
  LSR
  LSR
  LSR
  AND #$001F
  STA T
  LDA KY
  AND #$03E0
  ORA T
  TAY
  SEP #$20
  LDA [TABLES],Y
  STA T
  CMP CHECK
  BEQ facing
  LDA CHECK
  INC
  CMP LAPSIZE
  BNE next
  LDA #$00
next:
  CMP T
  BNE before
  STA CHECK
  CMP #$00
  BNE facing
  INC LAP
  BRA facing
before:
  LDA CHECK
  BNE not_line
  LDA LAPSIZE
not_line:
  DEC
  CMP T
  BNE facing
  STA CHECK
  INC
  CMP LAPSIZE
  BNE facing
  DEC LAP
facing:
  REP #$20
  LDA CHECK
  AND #$00FF
  CLC
  ADC #HEADINGS
  TAY
  SEP #$20
  LDA DIR
  SEC
  SBC [TABLES],Y
  CLC
  ADC #$40
  CMP #$81
  LDA #$00
  BCC right_way
  LDA #$10
right_way:
  STA TURNED
clock:
  SEP #$28              ; decimal mode
  LDA CS
  CLC
  ADC #$02
  STA CS
  BCC clock_done
  LDA SECONDS
  CLC
  ADC #$01
  CMP #$60
  BNE minute
  LDA #$00
minute:
  STA SECONDS
  BNE clock_done
  LDA MINUTES
  CLC
  ADC #$01
  STA MINUTES
clock_done:
  REP #$08
  RTS

scale_velocity:         ; DELTA, SIGN = speed / 4 * sin[X] / 32
  SEP #$20
  LDA sines,X
  STA $4203
  NOP
  NOP
  NOP
  NOP
  REP #$20
  LDA $4216
  LSR
  LSR
  LSR
  LSR
  LSR
  STA DELTA
  LDA signs,X
  AND #$00FF
  STA SIGN
  BEQ positive
  LDA #$0000
  SEC
  SBC DELTA
  STA DELTA
  BNE positive
  STZ SIGN
positive:
  RTS

; ---------------------------------------------------------------- sprites
sprites:
  SEP #$20
  LDA #$70
  STA OAM
  LDA #KART_TOP
  STA OAM+1
  REP #$20
  LDA LEAN
  AND #$00FF
  TAX
  SEP #$20
  LDA leaning,X
  STA OAM+2
  LDA #$30
  STA OAM+3
  REP #$20
  LDA KX
  JSR map_pixel
  .a8
  ADC #$45
  STA OAM+4
  REP #$20
  LDA KY
  JSR map_pixel
  .a8
  ADC #DOT_TOP
  STA OAM+5
  LDA #DOT_TILE
  STA OAM+6
  LDA #$32
  STA OAM+7
  LDX #$0000
  LDA MODE
  CMP #RACE
  BEQ race_letters
menu_letters:
  LDA menu_text,X
  STA OAM+8,X
  INX
  CPX #TEXT_SIZE
  BNE menu_letters
  LDA TRACK
  INC
  CLC
  ADC #DIGITS
  STA OAM+MENU_DIGIT
  BRA sizes
race_letters:
  LDA race_text,X
  STA OAM+8,X
  INX
  CPX #TEXT_SIZE
  BNE race_letters
  LDA LAP
  SEC
  SBC #$7F
  BPL lap_low
  LDA #$01
lap_low:
  BNE lap_high
  LDA #$01
lap_high:
  CMP #$05
  BCC lap_digit
  LDA #$05
lap_digit:
  CLC
  ADC #DIGITS
  STA OAM+RACE_DIGIT
sizes:
  LDA #$02
  STA OAM+512           ; only the kart is a large sprite
  RTS

map_pixel:              ; position 0-1023 in A (16 bits) -> pixel of the 112-pixel map in A (8 bits): A * 7 / 64
  .a16
  LSR
  LSR
  SEP #$20
  STA $4202
  LDA #$07
  STA $4203
  NOP
  NOP
  NOP
  NOP
  REP #$20
  LDA $4216
  LSR
  LSR
  LSR
  LSR
  SEP #$20
  CLC
  RTS

; ---------------------------------------------------------------- vertical blank interrupt
nmi:
  REP #$30
  PHA
  PHX
  PHY
  SEP #$20
  LDA $4210
  REP #$20
  LDA KX                ; the race view rotates around the kart
  STA CENTER+1
  SEC
  SBC #$0080
  STA SCROLL+1
  LDA KY
  STA CENTER+3
  SEC
  SBC #$0080
  STA SCROLL+3
  LDA DIR
  AND #$00FC
  LSR
  TAX
  LDA matrices,X
  STA $4322
  STA $4332
  SEP #$20
  LDA #$FC
  STA $420C
  REP #$20
  LDA DIR               ; the sky scrolls with the heading
  AND #$00FC
  ASL
  SEP #$20
  STA $210F
  XBA
  STA $210F
  LDA #$FF
  STA $2110
  STA $2110
  STZ $2102
  STZ $2103
  LDX #$0400
  STX $4300
  LDX #OAM
  STX $4302
  STZ $4304
  LDX #544
  STX $4305
  LDA #$01
  STA $420B
wait:
  LDA $4212
  AND #$01
  BNE wait
  REP #$20
  LDA $4218
  STA PAD
  INC FRAME
  SEP #$20
  LDA #$01
  STA READY
  REP #$30
  PLY
  PLX
  PLA
  RTI
irq:
  RTI
