"""The scorers' words in the languages of sleep laboratories: English -> the others, for `spelling.translator`.

From the AASM manual's translations, national scoring guidelines and the menus of scoring programs. What is not sure is
left out: an unknown word makes its family unscored, a wrong one makes wrong labels. Accents and case do not matter.
"""

STAGES = {
    # Upper case: not to be mixed up with anything that a scorer writes, which is compared in lower case.
    "WAKE": "quiet wakefulness,active wakefulness,wachzeit,vigilanza,"
    "wake,awake,wakefulness,waking,wakeful,wk,quiet wake,active wake,eyes open wake,"
    "wach,wachheit,wachsein,wachzustand,wachphase,éveil,éveillé,veille,éveil calme,"
    "vigilia,despierto,despierta,vigile,vigília,acordado,acordada,desperto,desperta,veglia,sveglio,sveglia,"
    "waak,wakker,waken,vågen,vaken,vakenhet,våken,våkenhet,valve,hereillä,valveilla,"
    "czuwanie,czuwania,bdění,bdělost,bdelosť,uyanık,uyanıklık,uyanik,veghe,ébrenlét,éber,budnost,"
    "εγρήγορση,ξύπνιος,бодрствование,бодрств,覚醒,清醒期,清醒,觉醒期,醒期,清醒状态,각성,깸,깨어있음",
    "REM": "drömsömn,drømmesøvn,快速動眼,"
    "rem,r e m,paradoxical,paradoxical sleep,rapid eye movement,rapid eye movements,stage r,"
    "traumschlaf,paradoxal,sommeil paradoxal,mor,sueño paradójico,paradojico,paradójico,"
    "movimientos oculares rápidos,movimento rapido degli occhi,paradosso,paradossale,remslaap,remsøvn,remsömn,"
    "remuni,vilke,paradoksalny,рем,бдг,быстрый,быстрый сон,парадоксальный,παράδοξος,"
    "レム睡眠,レム,快速眼动期,快速眼动,快速动眼期,快速動眼期,快动眼,快眼动,렘수면,렘",
    "NREM": "не rem,nrem,nonrem,non rem,no rem,nicht rem,niet rem,nr,n rem,nmor,no mor,non r,sl,"
    "ノンレム睡眠,ノンレム,非快速眼动,非快速動眼,비렘수면,비렘,нрем,медленный",
    "DEEP": "deep,deep sleep,sws,slow wave sleep,slowwave sleep,delta sleep,tief,tiefschlaf,tiefer schlaf,"
    "profond,sommeil profond,sommeil lent profond,lent profond,profundo,sueño profundo,sueño delta,"
    "sueño de ondas lentas,sono profundo,sonno profondo,profondo,diep,diepe slaap,dyb søvn,djupsömn,djup sömn,"
    "dyp søvn,syvä,syvä uni,głęboki,sen głęboki,hluboký,derin,derin uyku,βαθύς,глубокий,глубокий сон,дельта сон,"
    "深睡期,深睡眠,深睡,深い睡眠,깊은수면,깊은 수면,깊은잠",
    "MEDIUM": "medium,medium sleep,intermediate sleep,mittlerer schlaf,mitteltief,sommeil intermédiaire,"
    "中睡期,中睡,中度睡眠,중간수면",
    "LIGHT": "light,light sleep,leicht,leichtschlaf,leichter schlaf,léger,sommeil léger,sommeil lent léger,lent léger,"
    "sll,ligero,sueño ligero,sueño superficial,superficial,leve,sono leve,sonno leggero,leggero,lichte slaap,licht,"
    "let søvn,lätt sömn,lett søvn,kevyt,kevyt uni,płytki,sen płytki,lehký,hafif,hafif uyku,ελαφρύς,поверхностный,"
    "浅睡期,浅睡眠,浅睡,淺睡,浅眠,浅い睡眠,얕은수면,얕은 수면,얕은잠",
    "DROWSY": "drowsy,drowsiness,einschlafen,dösen,schläfrigkeit,endormissement,somnolence,somnolencia,sonolência,"
    "dormiveglia,入睡期,思睡期",
    "NONE": "missing,blank,empty,undef,indet,no sleep stage,"
    "unknown,unscored,unstaged,unscorable,unscoreable,not scored,not staged,notscored,no stage,nostage,"
    "no score,no data,not available,none,null,nan,na,n a,ns,nd,uns,unk,und,undefined,undetermined,indeterminate,"
    "invalid,"
    "unclassified,unlabeled,unlabelled,unsure,excluded,exclude,mt,mvt,mov,move,movt,movement,movements,"
    "movement time,body movement,body movements,art,artifact,artifacts,artefact,artefacts,artifacted,arte,artf,"
    "bewegung,bewegungszeit,körperbewegung,artefakt,artefakte,unbekannt,unbewertet,nicht bewertet,nicht klassifiziert,"
    "nicht gescort,nicht bestimmt,unklassifiziert,mouvement,temps de mouvement,mouvements,artéfact,artefacto,artéfacts,"
    "inconnu,non scoré,non classé,indéterminé,movimiento,tiempo de movimiento,desconocido,no puntuado,no clasificado,"
    "indeterminado,movimento,tempo de movimento,desconhecido,não pontuado,não classificado,artefato,artefatti,"
    "artefatto,sconosciuto,non classificato,non valutato,indeterminato,beweging,bewegingstijd,onbekend,niet gescoord,"
    "bevægelse,ukendt,rörelse,okänd,bevegelse,ukjent,liike,tuntematon,ruch,nieznany,nieokreślony,pohyb,neznámé,"
    "hareket,bilinmeyen,artefakti,artefaktti,κίνηση,άγνωστο,движение,артефакт,неизвестно,неопределено,体動,体动,"
    "判定不能,不明,未知,未判定,未分期,伪迹,운동,미상,판독불가",
    "STAGE": "sleep,stage,stages,sleepstage,state,phase,period,stg,st,epoch,scored,aasm,tonic,phasic,the,"
    "schlaf,stadium,schlafstadium,schlafphase,stad,stade,phase de sommeil,stade de sommeil,sommeil,lent,"
    "sommeil lent,estadio,estadío,fase,etapa,sueño,fase de sueño,etapa de sueño,estágio,sono,estágio do sono,"
    "estágio de sono,estadio de sueño,stadio,sonno,"
    "fase del sonno,fase di sonno,slaap,slaapstadium,slaapfase,søvn,søvnstadie,søvnstadium,stadie,sömn,sömnstadium,"
    "uni,univaihe,vaihe,sen,faza,faza snu,stadium snu,fáze,spánek,stádium,uyku,uykusu,evre,uyku evresi,evresi,"
    "somn,stadiu,alvás,ύπνος,στάδιο,сон,стадия,фаза,стадия сна,睡眠段階,段階,"
    "ステージ,第,睡眠,阶段,階段,期,수면단계,수면,단계",
    **{
        digit: names
        for digit, names in {
            "1": "i,one,first,una,uno,eins,一,１",
            "2": "ii,two,zwei,二",
            "3": "iii,three,drei,三",
            "4": "iv,four,vier,四",
        }.items()
    },
}
"""Words of a hypnogram. STAGE is every word that only says that a stage is meant."""

EVENTS = {
    "apnea": "apnoe,apnoen,apneas,apnoea,apnoeas,apnoes,apnée,apnées,apneia,apneias,apnee,apneu,apneus,apnø,apnöe,apnö,"
    "apneer,apné,apne,apneler,uniapnea,atemstillstand,atempause,bezdech,bezdechy,bezdechu,άπνοια,άπνοιες,апноэ,"
    "無呼吸,呼吸暂停,呼吸暫停,무호흡",
    "hypopnea": "hypopnoe,hypopnoen,hypopneas,hypopnoea,hypopnoeas,hypopnoes,hypopnée,hypopnées,hipopnea,hipopneas,"
    "hipopneia,hipopneias,ipopnea,ipopnee,ipoapnea,hypopneu,hypopneus,hypopnø,hypopné,hypopne,hypopneer,hipopne,"
    "hipopneler,hipopnoe,hypoapnea,hypoapnee,spłycenie oddechu,spłycenie oddychania,spłycenie,"
    "υπόπνοια,υπόπνοιες,гипопноэ,低呼吸,低通气,低通氣,저호흡",
    "obstructive": "obstruktiv,obstruktive,obstruktives,obstruktiver,obstructif,obstructifs,obstructiva,obstructivas,"
    "obstructivo,ostruttiva,ostruttive,ostruttivo,obstrutiva,obstrutivas,obstructief,obstructieve,obstruktivt,obstruktiva,"
    "obstruktiivinen,obstrukcyjny,obstrukcyjne,obturacyjny,obturacyjne,obturacyjna,obstrukční,obstruktif,tıkayıcı,"
    "tikayici,αποφρακτική,αποφρακτικές,обструктивное,обструктивные,閉塞性,閉塞型,阻塞性,阻塞型,폐쇄성",
    "central": "zentral,zentrale,zentrales,zentraler,centrale,centrales,centrali,centrais,centraal,sentral,sentralt,"
    "centralt,centrala,sentraalinen,centralny,centralne,centralna,ośrodkowy,ośrodkowe,centrální,santral,κεντρική,"
    "κεντρικές,центральное,центральные,中枢性,中枢型,中樞性,중추성",
    "mixed": "gemischt,gemischte,gemischtes,gemischter,mixte,mixtes,mixta,mixtas,mixto,mista,miste,misto,mistas,"
    "gemengd,gemengde,blandet,blandad,blandade,sekamuotoinen,mieszany,mieszane,mieszana,smíšená,smíšené,mikst,karışık,"
    "μεικτή,μικτή,смешанное,смешанные,混合性,混合型,혼합성",
    "arousal": "arousel,arousels,arousals,microarousal,microarousals,mikroarousal,mikroarousals,weckreaktion,"
    "weckreaktionen,aufwachreaktion,aufwachreaktionen,micro éveil,micro éveils,microéveil,microéveils,micro réveil,"
    "microréveil,microréveils,micro réveils,microdespertar,microdespertares,micro despertar,microrisveglio,"
    "microrisvegli,micro risveglio,mikrowybudzenie,wzbudzenie,wybudzenie,wybudzenia,havahtuminen,mikrohavahtuminen,"
    "μικροαφύπνιση,микроактивация,覚醒反応,微觉醒,微覺醒,미세각성,각성반응",
    "desaturation": "entsättigung,entsaettigung,entsättigungen,sättigungsabfall,saettigungsabfall,"
    "sauerstoffentsättigung,o2 entsättigung,o2 abfall,sauerstoffabfall,désaturation,désaturations,desaturación,"
    "desaturaciones,desaturazione,desaturazioni,dessaturação,dessaturações,desaturação,desaturatie,desaturaties,"
    "desaturering,desaturaatio,desaturacja,desaturacje,desaturace,desatürasyon,αποκορεσμός,десатурация,десатурации,"
    "酸素飽和度低下,血氧饱和度下降,血氧下降,氧减,氧饱和度下降,산소포화도감소,산소포화도 감소",
    "drop": "abfall,chute,caída,caida,queda,calo,daling,fald,fall,spadek,düşüş,低下,下降",
    "oxygen": "sauerstoff,oxygène,oxígeno,oxigênio,oxigénio,ossigeno,zuurstof,oxymétrie,oxymetrie,tlen,oksijen",
    "limb movement": "beinbewegung,beinbewegungen,extremitätenbewegung,mouvement de jambe,mouvements de jambe,"
    "mouvement de jambes,mouvements de jambes,mouvement des jambes,mouvements des jambes,mouvement jambe,"
    "movimiento de pierna,movimiento de piernas,movimientos de pierna,movimientos de piernas,"
    "movimientos de las piernas,movimiento de extremidades,movimientos de extremidades,movimento de perna,"
    "movimento de pernas,movimentos de perna,movimentos de pernas,movimentos das pernas,movimento de membros,"
    "movimento dei membri,movimenti di gamba,movimento gamba,movimenti gambe,movimento arto,movimento arti,"
    "movimento degli arti,movimenti degli arti,movimenti degli arti inferiori,beenbeweging,beenbewegingen,"
    "benbevægelse,benbevægelser,benbevegelse,benbevegelser,benrörelse,benrörelser,jalan liike,jalkojen liike,"
    "raajaliike,ruch kończyn,ruchy kończyn,ruchy nóg,ruch nogi,pohyb končetin,pohyby končetin,bacak hareketi,"
    "bacak hareketleri,κίνηση ποδιών,движение ног,движения ног,движение конечностей,движения конечностей,"
    "四肢運動,下肢運動,肢体运动,肢體運動,腿动,腿動,사지운동,다리움직임,하지운동",
    "periodic": "periodisch,periodische,periodischer,périodique,périodiques,periódico,periódicos,periodico,periodici,"
    "periodiek,periodieke,periodiska,periodiske,periodisk,periodyczne,okresowe,periyodik,периодические,周期性,"
    "週期性,주기성",
    "left": "links,linkes,linker,gauche,izquierda,izquierdo,izq,esquerda,esquerdo,sinistra,sinistro,venstre,vänster,"
    "vasen,lewa,lewej,sol,左",
    "right": "rechts,rechtes,rechter,droite,droit,derecha,derecho,der,direita,direito,destra,destro,højre,høyre,"
    "höger,oikea,prawa,prawej,sağ,右",
    "spindle": "spindel,spindeln,schlafspindel,schlafspindeln,fuseau,fuseaux,huso,husos,fuso,fusos,fusi,spoel,"
    "sömnspindel,søvnspindel,wrzeciono,iğcik,веретено,веретена,睡眠紡錘波,紡錘波,纺锤波,수면방추",
    "kcomplex": "k complex,k complexes,k komplex,k komplexe,kkomplex,complexe k,complexes k,complejo k,complejos k,"
    "complexo k,complexos k,complesso k,complessi k,k kompleksi,kompleks k,k kompleks,k复合波,k複合波,k복합파",
    "respiratory": "respiratorisch,respiratorische,respiratorischer,atem,respiratoire,"
    "respiratoires,respiratoria,respiratorio,respiratorias,"
    "respiratório,respiratória,respiratori,ademhaling,respiratorisk,oddechowy,solunum,дыхательное",
    "event": "ereignis,ereignisse,évènement,événement,événements,evento,eventos,eventi,gebeurtenis,hændelse,händelse,"
    "hendelse,tapahtuma,zdarzenie,olay,事件",
    "movement": "bewegung,bewegungen,mouvement,mouvements,movimiento,movimientos,movimento,movimentos,movimenti,"
    "beweging,bevægelse,bevegelse,rörelse,ruch,hareket",
    "leg": "bein,jambe,jambes,pierna,piernas,perna,pernas,gamba,gambe,bacak",
    "with": "mit,avec,con,com,med,ile,und,et,et de,wegen,durch,assoziiert,associé,associée,asociado,asociada,associado,"
    "associada,associato,associata",
    "spontaneous": "spontan,spontaner,spontane,spontané,spontanée,espontáneo,espontânea,espontâneo,spontaneo,spontaan",
    "artifact": "artefact,artefacts,artefakt,artefakte,artefacto,artefactos,artéfact,artéfacts,artefato,artefatos,"
    "artefatto,artefatti,artefakti,artefaktti,артефакт,伪迹",
    # Words put together from others.
    "obstructive apnea": "obsapnea,obstructiveapnea,oapnea,apneao,sahs,saos,obstruktiveapnoe,阻塞性睡眠呼吸暂停",
    "central apnea": "capnea,centralapnea,cenapnea,zentraleapnoe",
    "mixed apnea": "mapnea,mixedapnea,mixapnea",
    "obstructive hypopnea": "ohypopnea,obstructivehypopnea,obshypopnea",
    "central hypopnea": "chypopnea,centralhypopnea",
    "snoring": "schnarchen,ronflement,ronflements,ronquido,ronquidos,ronco,roncos,russamento,russare,snurken,snorken,"
    "snarkning,snarking,kuorsaus,chrapanie,chrápání,horlama,храп,いびき,鼾声,打鼾,코골이",
    "lights off": "lights out,light off,light out,lightsoff,lightsout,lightoff,lights of,loff,lo,"
    "licht aus,lichter aus,lichtaus,lumière éteinte,lumières éteintes,extinction des feux,extinction,"
    "extinction lumière,extinction des lumières,luces apagadas,luz apagada,apagado de luces,apaga luz,luces off,"
    "luzes apagadas,luz desligada,apagar luzes,luzes desligadas,luci spente,luce spenta,spegnimento luci,licht uit,"
    "lys slukket,lys slukkes,lys av,lyset slukkes,ljus av,ljuset släckt,släckt,valot pois,valot sammutettu,"
    "światło wyłączone,zgaszenie światła,zgaszone światło,světla zhasnuta,zhasnuto,ışık kapalı,ışıklar kapalı,"
    "ışıklar söndü,свет выключен,выключение света,消灯,关灯,熄灯,關燈,소등",
    "lights on": "light on,lightson,lighton,lon,licht an,lichter an,lichtan,licht ein,lumière allumée,"
    "lumières allumées,allumage,allumage lumière,"
    "luces encendidas,luz encendida,encendido de luces,luces on,luzes acesas,luz acesa,"
    "luz ligada,luzes ligadas,luci accese,luce accesa,accensione luci,licht aan,lys tændt,lys tændes,lys på,"
    "lyset tændes,ljus på,ljuset tänt,tänt,valot päälle,światło włączone,zapalenie światła,zapalone światło,"
    "světla rozsvícena,rozsvíceno,ışık açık,ışıklar açık,ışıklar yandı,свет включен,включение света,点灯,开灯,"
    "開燈,점등",
}
"""Words of events and of usual marks; the rules that put them together are in `terms`, for English alone."""
