"""Words of English and of code that every tokenizer of this age knows as one token behind a blank.

Two thousand of the commonest, some of them only beginnings of words. They are in the vocabularies of o200k,
cl100k, Claude 2 and DeepSeek alike; the tests hold them against the first two, in every surrounding.
"""

from __future__ import annotations

_COMMON_TOKENS_TEXT = """
ab ability able about above abs ac acc accept access according account accur across act action actions activ
active activities activity actual actually ad add added addition additional address adjust admin adv aff
affect after ag again against age ago agree air al align all alle allow allowed allows almost alone along
already also alt altern although always am amb among amount an anal analy analysis and android ang anim ann
another ans answer ant anti any anyone anything ap app appe appear applic application applications apply appro
approach appropriate ar arch are area areas arg args argument arm around arr array art article as ask asked
aspect ass assert assess associ async at att attack attempt attention au aud auf aut author auto autom av
available average avoid aw await away ax back background bad bal balance ball band bank bar bas base based
basic basis be because become bed been before beg began begin beginning beh behavior behind being bel belie
believe below ben benef benefits bes best bet better between beyond bi big bill birth bit bl black block blog
blood blue bo board body book books bool boolean border both bottom bound box boy br brain brand bre break
bring bro broad brought bu build building built bul bur bus business but button buy by ca cal calcul call
called cam came camp campaign can cancer candid cannot cap capital capt car card care career carry cas case
cases cast cat catch category cause ce cele cell cells cent center central cert certain ch chance chang change
changed changes channel char character characters charge che check chem child children cho choice choose circ
cit city cl claim class classes cle clean clear click client close club cm co code col coll collect collection
college color column com comb come comes comfort coming comm command comment comments commit common community
como comp compan companies company compar compared compet compl comple complet complete completely complex
component components comput computer con conc concept concern cond condition conditions conduct conf config
conn connect connection cons consider consist console const constant construct construction consum cont
contact contain contains content context contin continue contract control conv convers convert cook cool cop
copy cor core correct cos cost costs cou could count counter countries country couple cour course court cover
cr cre create created creating cred credit crit cross cu cult culture cur current currently custom customer
customers cut cy da daily dam damage dans dark das dat data database date day days db de dead deal death deb
dec decided decision decl decre deep def default defined degree del delete deliver dem demand den dep depend
der des desc described description design designed dest det detail details determine dev develop development
device devices df di did didn die dif diff differ difference different difficult dig digital dim dir dire
direct direction directly dis disc discover discuss dise disease display dist distance distributed
distribution div do doc document does doesn dog doing dom domain don done door dos double down download dr
draw drive driver dro drop drug du due during each earlier early earn eas easily easy echo econom economic ed
edge educ education eff effect effective effects effort eight ein eine either el ele elect element elements
elif else em email emb emp employ empty en enc end energy eng engine enh enjoy enough ens ensure ent enter
entire entre entry environment ep equ equal equipment er err error errors es esc especially ess essential est
establish et etc ev even event events ever every everyone everything evidence ex exact exactly exam example
exc except exception exist existing exp expect expected exper experience experiment expert expl express
expression ext extends extra ey eye eyes fa fac face fact factor factors fail failed fair fall false fam
family far fast fat father favor fe feature features feed feel feeling feet felt fem few field fields fig
fight figure fil file files fill film filter fin final finally financial find fine fire firm first fit five
fix fl flag flex float floor flow focus fol follow followed following font food foot for force fore form
format former forms forward found four fr fra frame fre free frequ fresh fri friend friends from front ful
full fully fun func function functions fund further future game games gar gas gave ge gen gener general
generate get gets getting girl give given gives giving gl global go goal goes going gold good got govern
government gr grand graph gre great greater green grid gro ground group groups grow growth gu guide ha hab had
hair half hand handle hands happ happen happy har hard has hat have having he head health hear heard heart
heat height hel held help her here high higher highly him his hist histor history hit ho hold hom home hon hop
hope hor host hot hour hours house how however href http https huge hum human hundred hy icon id ide idea
ideas ident if ign il ill im imag image images imm immediately imp impact implement import important impro
improve in inc include included includes including incre increase increased increasing ind index indic
individual individuals industry inf infl influ info inform information ing init initial inj inn input ins
insert inside inst install instance instead instit int integr inter interest interesting interface intern
internal international into introdu inv invest investig invol involved ir is isn iss issue issues ist it item
items its itself java je job join json jud just ke keep key kids kind km kn knew know knowledge known la lab
label lack land language larg large larger las last lat late later latest law layer le lead leading learn
learning least leave led left leg legal len length les less let letter level levels li lib library life light
lik like likely lim limit limited line lines link links list liter little live lives living lo load loc local
located location lock log long longer look looked looking looks loop los loss lost lot love low lower ma
machine made mag main mais major make makes making mal man management manager manufact many map mar margin
mark market mas mass master mat match material materials math matrix matter max maximum may me mean meaning
means meas measure mechan med media medical meet meeting mem member members memory men mention menu mer mes
message met method methods mi micro mid middle might miles military mill million min mind minutes mis miss mit
mix mm mo mobile mod mode model models modern module mom moment mon money month months mor more morning most
mot mother mount mov move moved movement movie moving much mult multi multiple mus music must mut my myself na
name named names nation national natural nature ne near nearly necess necessary need needed needs neg negative
net network never new news next nice nicht night nil no node non nor norm normal not note nothing notice now
np nu null num number numbers numer ob obj object objects obtain occ of off offer offers offic office official
often og oil ok ol old om on once one ones online only op open oper operation operations opin opportunity opt
optim option options or ord order org organ organization orig origin original os other others otherwise ou our
out output outside over overall own pa pack package page pages paid pain paint pair pal pan paper par para
param parameter parameters parent parents part partic particip particular particularly parts party pas pass
passed password past pat path patient patients pattern pay pe pen people per percent perfect perform
performance period pers person personal pet ph phone phot phys physical pi pick picture pie piece pl place
places plan plans plant platform play played player players playing ple please plot plus po pod point points
pol police policy polit political pool poor pop popular population por port pos position positive poss
possible post pot potential pour pow power pr pract practice pre prec pred predict prefer prem pres present
president press pressure pretty prevent previous pri price primary prime print prior priv private pro prob
probably proble problem problems proced process produ produce product production products prof profession
professional profile program programs progress project projects prom prop proper properties property prote
protect protected prov provide provided provides psych public published pul pull pun pur purch purpose push
put py qu qual quality quant que query quest question questions qui quick quickly quite ra rad raise random
range rank rat rate rates rather re reach read reading ready real really reason rec rece receive received
recent recently recogn recomm recommend record red redu reduce ref refer reference reg regard region register
regular rel related relations relationship release released relig rem remain remember remove render rep repe
replace report reported reports represent requ request require required requirements requires res research
resource resources resp respect respond respons response rest result ret return returned returns rev reve
review right rights risk ro road rock role roll room root rot round route row rule rules run running sa saf
safe safety said sal sale sales same sample sat satisf save saw say saying says sc scale sch school science
scient score scre screen script se search season sec second seconds secret section security see seek seem
seems seen seg sel select selected selection self sell sem sen send sens sense sent separ ser series serious
serv server service services session set sett setting settings seven sever several sh shall shape share shared
she short should show shown shows si sich side sig sign signal signific significant sil sim similar simple
simply sin since sing single sit site sites situ situation six size sk skills skin sl sleep slow sm small sn
so social soft software sol sold solid solution som some someone something sometimes son song soon sort sou
sound source sources sp space spe speak spec special specific specified spect speed spirit squ square src st
stack staff stage stand standard star start stat state statement states static station status stay std ste
step steps still stock stop storage store stories story str straight strateg strategy stre stream strength
stress string strong struct stud student students studies study stuff style su sub subject success successful
such suff suggest sum summer sun sup super supply support sur sure surface surv sus sw switch sy sym symbol
syn system systems ta tab table tag tak take taken takes taking tal talk target task tax te teach team techn
tele tell tem temp temper temperature template ten tend ter term terms test testing tests text th than that
the their them then there therefore these they thing things think thinking third this those though thought
thread threat three through throw thus time times tit title to today together token told too took tool tools
top tot total touch tour towards town tr tra track trade train training trans transfer transform transport
travel tre treat treatment tree tri trial tried tro true trust try trying turn turned tw two ty typ type types
ult um uma un una und under understand understanding une unique unit units uns unt until up update updated
upon ur url us use used useful user users uses using usually ut util val valid value values van var vari
variable variables variety various ve vector vel ver vers vert very vi via vict video view views vill viol vir
virtual vis visit visual vo voice void vol volume von vot vous vs wa wait walk wall want wanted war warm was
wasn watch water way ways we web website week weeks weight well went wer were wh what whe when where whether
which while white who whole whose why wide width wife will win wind window wish with within without woman
women won wonder wood wor word words work worked working works world worth would writ write writing written
wrong wrote year years yet yield you young your yourself zero zu
"""
COMMON_TOKENS = frozenset(_COMMON_TOKENS_TEXT.split())
